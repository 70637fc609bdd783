package flagfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/contraflow/contraflow/flags"
)

const (
	// newFileMode lets the applications of other users read the flags.
	newFileMode = 0o644
	// ownMode is of a file that nobody else has to do with yet.
	ownMode = 0o600
	// othersRead is the right of everybody to read a file.
	othersRead = 0o004
)

func (p *Provider) read() (document, error) {
	raw, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return document{}, fmt.Errorf("there is no flag file %s: create it, or correct its path: %w: %w",
			p.path, err, flags.ErrNotFound)
	}
	if err != nil {
		return document{}, fmt.Errorf("read the flag file: %w", err)
	}
	return parse(p.path, raw)
}

// readOrNew returns an empty document if there is no file.
func (p *Provider) readOrNew() (document, error) {
	d, err := p.read()
	if errors.Is(err, fs.ErrNotExist) {
		return newDocument(p.path), nil
	}
	return d, err
}

// write replaces the file in one step: a reader, or a crash, sees either the old content or the new. It leaves the old
// one where ctx is over by then, or where somebody has edited it since it was read.
func (p *Provider) write(ctx context.Context, d document) error {
	temporary, err := p.prepare(d)
	if err != nil {
		return err
	}
	if err := p.replace(ctx, d, temporary); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncFolder(filepath.Dir(temporary))
}

// prepare writes the new content beside the file. It has one name, which the lock guards: what a crash left behind is
// overwritten by the next writer.
func (p *Provider) prepare(d document) (temporary string, err error) {
	raw, err := d.encode()
	if err != nil {
		return "", err
	}
	target, standing, err := p.resolve()
	if err != nil {
		return "", err
	}
	temporary = target + ".tmp"
	if err := writeSynced(temporary, raw, standing); err != nil {
		return "", fmt.Errorf("write the flag file beside %s (its folder must be writable): %w", p.path, err)
	}
	return temporary, nil
}

func (p *Provider) replace(ctx context.Context, d document, temporary string) error {
	now, err := os.ReadFile(p.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the flag file again: %w", err)
	}
	if !bytes.Equal(now, d.raw) { // by hand, for whoever takes the lock can't
		return fmt.Errorf("the flag file %s was edited in this moment: %w", p.path, flags.ErrConflict)
	}
	if err := flags.Late(ctx); err != nil {
		return fmt.Errorf("too late to replace the flag file %s: %w", p.path, err)
	}
	err = os.Rename(temporary, strings.TrimSuffix(temporary, ".tmp"))
	if errors.Is(err, syscall.EBUSY) {
		return p.mounted()
	}
	if err != nil {
		return fmt.Errorf("replace the flag file: %w", err)
	}
	return nil
}

// replaceable refuses a file that is a mount of its own, as of a single file into a container: nobody can replace it, and who
// mounts the file would not see a new one either. Nothing can be linked out of a mount, not even into the same file system.
func (p *Provider) replaceable() error {
	target, standing, err := p.resolve()
	if err != nil || standing == nil {
		return err
	}
	link := target + ".link"
	if err := syscall.Unlink(link); err != nil && !errors.Is(err, fs.ErrNotExist) { // what a crash has left behind
		return fmt.Errorf("rehearse a change of the flag file beside %s (its folder must be writable): %w", p.path, err)
	}
	if err := os.Link(target, link); errors.Is(err, syscall.EXDEV) {
		return p.mounted()
	} else if err != nil {
		return nil // a file system without links, or a rule against them, says nothing
	}
	if err := os.Remove(link); err != nil {
		return fmt.Errorf("rehearse a change of the flag file: %w", err)
	}
	return nil
}

func (p *Provider) mounted() error {
	return fmt.Errorf("the flag file %s is mounted by itself and can't be replaced: mount its folder, for the worker and for the applications: %w",
		p.path, flags.ErrInvalid)
}

// resolve follows a symbolic link, which the rename would replace otherwise. There is no standing file before it is made.
func (p *Provider) resolve() (path string, standing fs.FileInfo, err error) {
	path, err = filepath.EvalSymlinks(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p.path, nil, nil
	}
	if err == nil {
		standing, err = os.Stat(path)
	}
	if err != nil {
		return "", nil, fmt.Errorf("find the flag file: %w", err)
	}
	return path, standing, nil
}

// writeSynced makes a file that whoever could read the standing one can read as well, and before it holds anything.
func writeSynced(path string, raw []byte, standing fs.FileInfo) error {
	// What a crash has left behind may be another user's.
	if err := syscall.Unlink(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, ownMode)
	if err != nil {
		return err
	}
	mode := fs.FileMode(newFileMode)
	if standing != nil {
		mode = standing.Mode().Perm()
	}
	err = file.Chmod(mode) // as long as it is ours
	if err == nil && standing != nil {
		err = keepOwner(file, standing)
	}
	if err == nil {
		_, err = file.Write(raw)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// keepOwner is refused to a process that is neither root nor the owner. That matters where the others may not read.
func keepOwner(file *os.File, standing fs.FileInfo) error {
	err := giveTo(file, standing)
	if err != nil && standing.Mode()&othersRead == 0 {
		return fmt.Errorf("the applications could not read it any more: let the worker's user own it, or let others read it: %w", err)
	}
	return nil
}

// giveTo makes the owner of one file the owner of another.
func giveTo(file *os.File, other fs.FileInfo) error {
	owner, ok := other.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return file.Chown(int(owner.Uid), int(owner.Gid))
}

// syncFolder makes the rename survive a power cut.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the flag file's folder: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("sync the flag file's folder: %w", err)
	}
	return nil
}
