-- expect: nothing
create table countries (code text primary key, title text not null);
insert into countries values ('de', 'Germany'), ('fr', 'France');
update countries set title = upper(title);
