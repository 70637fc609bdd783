-- expect: adding-primary-key-over-nullable-columns@3
-- the index is there, but a key has no nulls: the table is read to prove that
alter table products add constraint products_pkey primary key using index products_sku;
