-- expect: nothing
create domain percentage as integer;
