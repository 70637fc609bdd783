-- expect: nothing
create trigger orders_touch before update on orders for each row when (old.state is distinct from new.state) execute function touch();
