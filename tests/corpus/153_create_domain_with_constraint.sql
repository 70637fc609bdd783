-- expect: ban-create-domain-with-constraint@2
create domain percentage as integer check (value between 0 and 100);
