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
	"time"

	"github.com/contraflow/contraflow/flags"
)

const (
	// lockPoll is how often a busy lock is tried again: a writer holds it for milliseconds.
	lockPoll = 5 * time.Millisecond
	// newFileMode lets the applications of other users read the flags.
	newFileMode = 0o644
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
	if err := os.Rename(temporary, strings.TrimSuffix(temporary, ".tmp")); err != nil {
		return fmt.Errorf("replace the flag file: %w", err)
	}
	return nil
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

// writeSynced makes a file that whoever could read the standing one can read as well.
func writeSynced(path string, raw []byte, standing fs.FileInfo) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, newFileMode)
	if err != nil {
		return err
	}
	mode := fs.FileMode(newFileMode)
	if standing != nil {
		mode = standing.Mode().Perm()
		err = keepOwner(file, standing)
	}
	if err == nil {
		_, err = file.Write(raw)
	}
	if err == nil {
		err = file.Chmod(mode) // the umask, or a leftover, may have made it another
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
	owner, ok := standing.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	err := file.Chown(int(owner.Uid), int(owner.Gid))
	if err != nil && standing.Mode()&othersRead == 0 {
		return fmt.Errorf("the applications could not read it any more: let the worker's user own it, or let others read it: %w", err)
	}
	return nil
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

// locked runs change while no other provider writes. The lock is on a file beside the flag file, because the flag file
// itself is replaced; it ends with the process, however that ends.
func (p *Provider) locked(ctx context.Context, change func() error) error {
	target, _, err := p.resolve()
	if err != nil {
		return err
	}
	retry := time.NewTicker(lockPoll)
	defer retry.Stop()
	for {
		lock, err := tryLock(target + ".lock")
		if err != nil {
			return fmt.Errorf("lock the flag file %s (its folder must be writable): %w", p.path, err)
		}
		if lock != nil {
			defer lock.Close() // releases the lock
			return change()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another writer of the flag file %s: %w", p.path, ctx.Err())
		case <-retry.C:
		}
	}
}

// tryLock returns nil while another has the lock. It opens the file anew each time: somebody may have tidied it away, and others
// lock the next one.
func tryLock(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return lock, nil
	}
	_ = lock.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return nil, err
}
