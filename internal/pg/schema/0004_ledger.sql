-- Which migration works on a plan: one at a time. The row stays after the end and says how it ended.
create table contraflow.migration (
    plan text primary key,
    migration text not null,           -- workflow id
    first_run text not null,           -- its first run id; the same over every continue-as-new
    plan_hash text not null,
    owner text not null default '',    -- as the plan says
    home jsonb not null default '{}',  -- the Temporal where it runs: no other can tell whether it still does
    claimed_at timestamptz not null default now(),
    undoing boolean not null default false, -- its rollback has begun: a late attempt must not bring the schema up any more
    ended_at timestamptz,              -- null while it holds the plan
    outcome text,
    past_return_at timestamptz          -- when a step that nothing undoes has begun; null before
);

-- What a flag was before a step first changed it, and what the step made of it: nothing but that is ever put back.
create table contraflow.flag_record (
    plan text not null,
    step text not null,
    flag_key text not null,
    before jsonb not null,             -- the provider's state, as it was found
    ours jsonb not null,               -- the states on either side of our latest change; written before the change is made
    first_run text not null default '',  -- of the attempt that wrote it last
    kills bigint not null default 0,   -- the latest press of the kill switch that its people had resumed from
    recorded_at timestamptz not null default now(), -- when the step began with it
    primary key (plan, step, flag_key)
);
