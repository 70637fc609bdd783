-- expect: require-enum-value-ordering@2
alter type mood add value 'fine';
