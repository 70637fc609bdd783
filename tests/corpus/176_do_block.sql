-- expect: opaque@2
do $$ begin perform 1; end $$;
