-- expect: changes-session@2
set search_path = archive;
create table scratch (id bigint primary key);
