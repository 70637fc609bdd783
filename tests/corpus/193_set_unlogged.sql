-- expect: prefer-repack@2
alter table items set unlogged;
