-- expect: ban-replica-identity@2
alter table items replica identity full;
