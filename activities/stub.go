package activities

import "context"

type Activities struct{}

func (a *Activities) Begin(ctx context.Context, in BeginInput) (Begun, error) { return Begun{}, nil }
func (a *Activities) Finish(ctx context.Context, in FinishInput) error        { return nil }
func (a *Activities) Audit(ctx context.Context, in AuditInput) error          { return nil }
func (a *Activities) Migrate(ctx context.Context, in MigrateInput) (Migrated, error) {
	return Migrated{}, nil
}
func (a *Activities) MigrateDown(ctx context.Context, in MigrateInput) (Migrated, error) {
	return Migrated{}, nil
}
func (a *Activities) SchemaVersion(ctx context.Context, in MigrateInput) (Migrated, error) {
	return Migrated{}, nil
}
func (a *Activities) ApplyFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	return FlagNow{}, nil
}
func (a *Activities) RestoreFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	return FlagNow{}, nil
}
func (a *Activities) RetireFlag(ctx context.Context, in FlagInput) error { return nil }
func (a *Activities) PrepareBackfill(ctx context.Context, in BackfillInput) (BackfillPrepared, error) {
	return BackfillPrepared{}, nil
}
func (a *Activities) BackfillLane(ctx context.Context, in BackfillInput) (LaneDone, error) {
	return LaneDone{}, nil
}
func (a *Activities) ProveBackfill(ctx context.Context, in BackfillInput) (BackfillProven, error) {
	return BackfillProven{}, nil
}
func (a *Activities) ControlBackfill(ctx context.Context, in ControlInput) error { return nil }
func (a *Activities) ResetBackfill(ctx context.Context, in BackfillInput) error  { return nil }
func (a *Activities) Verify(ctx context.Context, in VerifyInput) (Verified, error) {
	return Verified{}, nil
}
func (a *Activities) WatchHealth(ctx context.Context, in WatchInput) (GuardVerdict, error) {
	return GuardVerdict{}, nil
}
func (a *Activities) PostCard(ctx context.Context, in Card) (CardRef, error) { return CardRef{}, nil }
func (a *Activities) UpdateCard(ctx context.Context, in Card) error          { return nil }
func (a *Activities) PostNotice(ctx context.Context, in NoticeInput) error   { return nil }
