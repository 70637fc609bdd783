package flagfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a busy lock is tried again: a writer holds it for milliseconds.
const lockPoll = 5 * time.Millisecond

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
			return fmt.Errorf("lock the flag file %s: %w", p.path, err)
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
	lock, err := openLock(path)
	if lock == nil {
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

func openLock(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, ownMode)
	if err == nil {
		if err := openToWriters(lock); err != nil {
			return nil, errors.Join(err, lock.Close(), os.Remove(path))
		}
		return lock, nil
	}
	if errors.Is(err, fs.ErrExist) {
		lock, err = os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) { // tidied away in this moment
			return nil, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("another user has made its lock, remove %s or let this user write it: %w", path, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("its folder must be writable: %w", err)
	}
	return lock, nil
}

// openToWriters lets everybody lock who may replace the flag file, and nobody else: whoever may write the folder. One change by
// root, such as a kill switch with sudo, must not shut the worker out.
func openToWriters(lock *os.File) error {
	folder, err := os.Stat(filepath.Dir(lock.Name()))
	if err != nil {
		return err
	}
	writers := folder.Mode().Perm() & 0o222
	if err := lock.Chmod(ownMode | writers | writers<<1); err != nil { // who may write may read
		return err
	}
	_ = giveTo(lock, folder) // refused to whoever is neither root nor the owner: then the mode decides
	return nil
}
