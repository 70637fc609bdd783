-- Fills what was written in the old shape alone while the kill switch kept customers-write-new off; behind the resume, when
-- both shapes are written again. It looks for what the plan's step prove counts.
update customers
set street_number = split_part(address, ' ', 1),
    street = substr(address, strpos(address, ' ') + 1)
where street is distinct from substr(address, strpos(address, ' ') + 1)
   or street_number is distinct from split_part(address, ' ', 1);
