-- expect: opaque@2
call tidy();
