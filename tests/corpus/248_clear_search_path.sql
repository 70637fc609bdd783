-- expect: changes-session@2
select pg_catalog.set_config('search_path', '', true);
