-- expect: nothing
alter table products add constraint products_pkey primary key using index products_id;
