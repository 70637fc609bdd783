-- expect: adding-constrained-domain-field@2
alter table customers add column postal postcode default '12345';
