-- expect: renaming-object@2
alter type mood rename value 'sad' to 'gloomy';
