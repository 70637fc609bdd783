-- expect: renaming-object@2
alter type mood rename to feeling;
