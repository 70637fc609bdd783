-- expect: ban-truncate@2
truncate items;
