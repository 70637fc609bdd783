-- expect: ban-revoke@2
revoke select on customers from public;
