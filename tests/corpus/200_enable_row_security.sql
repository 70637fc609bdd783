-- expect: enabling-row-security@2
alter table customers enable row level security;
