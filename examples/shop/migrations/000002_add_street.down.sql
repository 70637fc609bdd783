alter table customers
    drop column street_number,
    drop column street;
