package references

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

const key = "customers-write-new"

// tree writes files into a folder of their own and opens it.
func tree(t *testing.T, files map[string]string) (*os.Root, string) {
	t.Helper()
	folder := t.TempDir()
	for name, body := range files {
		file := filepath.Join(folder, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
	}
	root, err := os.OpenRoot(folder)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	return root, folder
}

func TestAKeyIsFoundAsAWholeWord(t *testing.T) {
	t.Parallel()
	for line, found := range map[string]bool{
		`if client.BoolVariation("customers-write-new", who, false) {`: true,
		"customers-write-new":                             true,
		"see customers-write-new.":                        true,
		"--customers-write-new=true":                      true,
		"shop.customers-write-new.enabled":                true,
		"`customers-write-new`, «customers-write-new»":    true,
		`"customers-write-new-" + region`:                 true,
		"customers-write-newer, then customers-write-new": true,
		"\tcustomers-write-new\r":                         true,
		"customers-write-newer":                           false,
		"customers-write-new-er":                          false,
		"customers-write-new_er":                          false,
		"all-customers-write-new":                         false,
		"xcustomers-write-new":                            false,
		"Customers-Write-New":                             false,
		"customers-write-ne":                              false,
		"customers-write-new2customers-write-newer":       false,
		"":                                                 false,
		`"a\ncustomers-write-new"`:                         true,
		`"\tcustomers-write-new"`:                          true,
		`"\x22customers-write-new"`:                        true,
		`\u0022customers-write-new\u0022`:                  true,
		`flag%3Dcustomers-write-new`:                       true,
		`%22customers-write-new%22`:                        true,
		`_customers-write-new_`:                            true,
		`__customers-write-new__`:                          true,
		`my_customers-write-new`:                           false,
		`u0022customers-write-new`:                         false,
		`50%2Gcustomers-write-new`:                         false,
		"customers-write-new2 customers-customers-write-n": false,
	} {
		require.Equal(t, found, stands([]byte(line), []byte(key)), line)
	}
	require.False(t, stands([]byte("anything"), nil))
}

func TestPlacesAreNamedAndCounted(t *testing.T) {
	t.Parallel()
	root, _ := tree(t, map[string]string{
		"shop/app/main.go":      "package main\n\nvar writeNew = flag(\"customers-write-new\") // customers-write-new\n",
		"shop/app/z/many.txt":   strings.Repeat("customers-write-new\n", 10),
		"shop/app/read.go":      "customers-read-new",
		"shop/app/none.go":      "customers-write-newer",
		"shop/plan.yaml":        key,
		"shop/application/x.go": key,
	})
	report, err := Find(t.Context(), root, []string{"shop/app/z", "shop/app", "shop/app/"}, []string{"gone", key, "customers-read-new"})
	require.NoError(t, err)
	require.Equal(t, 4, report.Files, "each once")
	require.Empty(t, report.Unread)
	require.Len(t, report.Found, 2)
	require.Equal(t, Found{Key: key, Lines: 11, Places: []Place{{"shop/app/main.go", 3}, {"shop/app/z/many.txt", 1}, {"shop/app/z/many.txt", 2},
		{"shop/app/z/many.txt", 3}, {"shop/app/z/many.txt", 4}}}, report.Found[0])
	require.Equal(t, "shop/app/main.go:3, shop/app/z/many.txt:1, shop/app/z/many.txt:2, shop/app/z/many.txt:3, shop/app/z/many.txt:4, 6 more", report.Found[0].String())
	require.Equal(t, "shop/app/read.go:1", report.Found[1].String())
	all, err := Find(t.Context(), root, []string{".", "shop"}, []string{key})
	require.NoError(t, err)
	require.Equal(t, 13, all.Found[0].Lines)
}

func TestOthersCodeAndBinariesAreSkipped(t *testing.T) {
	t.Parallel()
	root, folder := tree(t, map[string]string{
		"app/.git/index": key, "app/.hg/store": key, "app/.svn/wc": key, "app/web/node_modules/x/index.js": key, "app/vendor/x/x.go": key,
		"app/app.bin": "\x7fELF\x00" + key, "app/main.go": "package main", "vendor/own.go": key,
	})
	huge, err := os.Create(filepath.Join(folder, "app", "dump.sql"))
	require.NoError(t, err)
	require.NoError(t, huge.Truncate(LargestFile+1))
	require.NoError(t, huge.Close())
	report, err := Find(t.Context(), root, []string{"app"}, []string{key})
	require.NoError(t, err)
	require.Equal(t, Report{Found: []Found{}, Files: 1, Unread: []string{"app/dump.sql (8 MB)", "app/vendor (others' code)"}}, report)
	report, err = Find(t.Context(), root, []string{"vendor"}, []string{key})
	require.NoError(t, err)
	require.Len(t, report.Found, 1, "what is asked for by name is looked into")
}

func TestSymbolicLinksStayBelowTheRoot(t *testing.T) {
	t.Parallel()
	root, folder := tree(t, map[string]string{"app/main.go": "package main", "lib/lib.go": key, "other/x.go": key})
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte(key), 0o600))
	for name, to := range map[string]string{
		"app/out": outside, "app/secret": filepath.Join(outside, "secret"), "app/nowhere": "gone.go", "app/loop": "../app", "app/lib.go": "../lib/lib.go",
		"app/deep": "../lib", "app/node_modules": "../lib", "app/other": "../other", "elsewhere": outside,
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(folder, filepath.FromSlash(name))))
	}
	report, err := Find(t.Context(), root, []string{"app", "other"}, []string{key})
	require.NoError(t, err)
	require.Equal(t, []Found{{Key: key, Lines: 2, Places: []Place{{"app/lib.go", 1}, {"other/x.go", 1}}}}, report.Found)
	require.Equal(t, []string{"app/deep leads to lib"}, report.Linked)
	require.Equal(t, []string{"app/nowhere (a symbolic link)", "app/out (a symbolic link)", "app/secret (a symbolic link)"}, report.Unread)
	for _, folder := range []string{"elsewhere", "..", "/etc"} {
		_, err = Find(t.Context(), root, []string{folder}, []string{key})
		require.ErrorContains(t, err, "look into folder "+folder)
	}
}

func TestAFolderThatCannotBeLookedIntoIsAnError(t *testing.T) {
	t.Parallel()
	root, _ := tree(t, map[string]string{"app/main.go": "package main"})
	_, err := Find(t.Context(), root, []string{"app", "web"}, []string{key})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Find(t.Context(), root, []string{"app/main.go"}, []string{key})
	require.ErrorContains(t, err, "it is a file")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Find(ctx, root, []string{"app"}, []string{key})
	require.ErrorIs(t, err, context.Canceled)
}

func TestTextIsReadHoweverItIsStored(t *testing.T) {
	t.Parallel()
	files := map[string]string{"app/long.js": strings.Repeat("x ", LargestFile/4) + key + strings.Repeat(" y", LargestFile/8)}
	for name, order := range map[string]unicode.Endianness{"app/little.cs": unicode.LittleEndian, "app/big.cs": unicode.BigEndian} {
		encoded, err := unicode.UTF16(order, unicode.UseBOM).NewEncoder().String("\r\nFlag(\"" + key + "\")\r\n")
		require.NoError(t, err)
		files[name] = encoded
	}
	for name, order := range map[string]utf32.Endianness{"app/wide_little.txt": utf32.LittleEndian, "app/wide_big.txt": utf32.BigEndian} {
		encoded, err := utf32.UTF32(order, utf32.UseBOM).NewEncoder().String("\n\n" + key)
		require.NoError(t, err)
		files[name] = encoded
	}
	root, _ := tree(t, files)
	report, err := Find(t.Context(), root, []string{"app"}, []string{key})
	require.NoError(t, err)
	require.Equal(t, []Found{{Key: key, Lines: 5, Places: []Place{
		{"app/big.cs", 2}, {"app/little.cs", 2}, {"app/long.js", 1}, {"app/wide_big.txt", 3}, {"app/wide_little.txt", 3},
	}}}, report.Found)
}

func TestScriptsMayNameAKeyInCamelCase(t *testing.T) {
	t.Parallel()
	root, _ := tree(t, map[string]string{
		"app/page.jsx":  "const { customersWriteNew } = useFlags()",
		"app/other.ts":  "flags.customersWriteNewer, oldCustomersWriteNew, customers-write-new",
		"app/store.go":  "customersWriteNew := false",
		"app/plain.tsx": "const { enabled } = useFlags()",
	})
	report, err := Find(t.Context(), root, []string{"app"}, []string{key, "enabled"})
	require.NoError(t, err)
	require.Equal(t, []Found{
		{Key: key, Lines: 1, Places: []Place{{"app/other.ts", 1}}}, {Key: "enabled", Lines: 1, Places: []Place{{"app/plain.tsx", 1}}},
		{Key: key, As: "customersWriteNew", Lines: 1, Places: []Place{{"app/page.jsx", 1}}},
	}, report.Found)
	require.Equal(t, "as customersWriteNew: app/page.jsx:1", report.Found[2].String())
}

// The SDK uses lodash's camelCase: words of its tests and of its documentation.
func TestCamelCaseIsThatOfTheSDK(t *testing.T) {
	t.Parallel()
	for key, camel := range map[string]string{
		"customers-write-new": "customersWriteNew", "Foo Bar": "fooBar", "--foo-bar--": "fooBar", "__FOO_BAR__": "fooBar", "fooBar": "fooBar",
		"walk500Leagues": "walk500Leagues", "12 feet": "12Feet", "enable 6h format": "enable6HFormat", "aeiouAreVowels": "aeiouAreVowels",
		"XMLHttpRequest": "xmlHttpRequest", "safe HTML": "safeHtml", "LETTERSAeiouAreVowels": "lettersAeiouAreVowels", "shop.v2.new": "shopV2New",
		"enabled": "enabled", "": "", "-": "",
	} {
		require.Equal(t, camel, camelCase(key), key)
	}
}

func TestNamesThatAreNotUTF8AreTold(t *testing.T) {
	t.Parallel()
	root, _ := tree(t, map[string]string{"app/main.go": key, "app/caf\xe9.txt": key, "app/d\xe9/x.go": key})
	report, err := Find(t.Context(), root, []string{"app"}, []string{key})
	require.NoError(t, err)
	require.Len(t, report.Found, 1)
	require.Equal(t, 1, report.Files)
	require.Equal(t, []string{"app/caf\uFFFD.txt (its name is not UTF-8)", "app/d\uFFFD (its name is not UTF-8)"}, report.Unread)
}

// moving is a folder that is renewed while it is looked at: its listing is of files that are gone.
type moving struct{ fs.FS }

func (m moving) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".go") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return m.FS.Open(name)
}

func TestFilesThatAreGoneAreCounted(t *testing.T) {
	t.Parallel()
	root, _ := tree(t, map[string]string{"app/main.go": key, "app/lib/lib.go": key, "app/page.ts": "nothing"})
	s := search{root: moving{root.FS()}}
	require.NoError(t, s.walk(t.Context(), "app"))
	require.Equal(t, Report{Files: 1, Gone: 2}, s.report)
}
