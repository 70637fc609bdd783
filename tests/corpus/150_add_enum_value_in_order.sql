-- expect: nothing
alter type mood add value 'fine' after 'ok';
