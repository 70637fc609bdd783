-- expect: adding-serial-primary-key-field@2, prefer-identity@2
alter table customers add column serial_number bigserial;
