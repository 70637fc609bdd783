alter table customers
    add column street_number text,
    add column street text;
