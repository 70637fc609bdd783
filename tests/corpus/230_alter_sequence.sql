-- expect: nothing
alter sequence tickets owned by none;
