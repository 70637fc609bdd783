-- expect: ban-drop-object@2
drop sequence tickets;
