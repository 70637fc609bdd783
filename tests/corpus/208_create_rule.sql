-- expect: creating-rule@2
create rule items_quiet as on delete to items do instead nothing;
