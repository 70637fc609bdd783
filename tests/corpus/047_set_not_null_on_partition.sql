-- expect: adding-not-nullable-field@2
alter table events_2025 alter column kind set not null;
