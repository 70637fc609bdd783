-- expect: ban-alter-domain-with-add-constraint@2
alter domain label set not null;
