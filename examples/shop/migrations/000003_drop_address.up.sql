alter table customers drop column address;
