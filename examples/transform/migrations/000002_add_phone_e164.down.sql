alter table contacts drop column phone_e164;
