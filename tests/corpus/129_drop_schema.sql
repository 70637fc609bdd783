-- expect: ban-drop-object@2
drop schema archive;
