-- expect: changing-owner@2
alter table items owner to current_user;
