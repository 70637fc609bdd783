-- expect: nothing
create policy customers_all on customers using (true);
