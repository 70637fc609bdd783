-- expect: altering-composite-type@2
alter type point_of_sale add attribute floor integer;
