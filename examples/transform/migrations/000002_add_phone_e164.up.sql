alter table contacts add column phone_e164 text;
