package plan

// Position of the value below keys (texts) and indexes (ints) of a plan's document, from 1; columns count characters. Where
// there is no such value it is that of the nearest thing around it.
func Position(document []byte, keys ...any) (line, column int) {
	at := newDecoder("").parse(document)
	if at == nil {
		return 1, 1
	}
	for _, key := range keys {
		i := len(at.Content)
		switch key := key.(type) {
		case int:
			i = key
		case string:
			for k := 0; k+1 < len(at.Content); k += 2 { // keys and values take turns
				if at.Content[k].Value == key {
					i = k + 1
				}
			}
		}
		if i >= len(at.Content) {
			break
		}
		at = at.Content[i]
	}
	return at.Line, at.Column
}
