-- expect: ban-drop-object@2
drop domain label;
