-- expect: renaming-object@2
alter schema archive rename to attic;
