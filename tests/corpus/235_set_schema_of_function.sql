-- expect: renaming-object@2
alter function touch() set schema archive;
