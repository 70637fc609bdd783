-- expect: ban-alter-domain-with-add-constraint@2
alter domain label add constraint label_short check (length(value) < 20);
