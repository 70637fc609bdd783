-- expect: nothing
create type weather as enum ('sun', 'rain');
