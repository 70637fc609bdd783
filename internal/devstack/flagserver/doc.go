// Package flagserver stands in for LaunchDarkly: one project with one environment, spoken to over LaunchDarkly's own
// wire protocols, so that the real SDK and a REST client need nothing but another URL. It serves the demo and the tests.
//
// Where each shape comes from (paths below https://launchdarkly.com/docs/api unless said otherwise):
//
//	GET    /api/v2/flags/{project}            feature-flags/get-feature-flags: items, totalCount
//	POST   /api/v2/flags/{project}            feature-flags/post-feature-flag: key, name, variations, temporary, tags,
//	                                          maintainerId, purpose migration with migrationSettings
//	GET    /api/v2/flags/{project}/{key}      feature-flags/get-feature-flag; ?env= filters environments, and
//	                                          ?expand=migrationSettings shows these
//	PATCH  /api/v2/flags/{project}/{key}      feature-flags/patch-feature-flag, semantic patch or JSON patch, by the
//	                                          Content-Type; ?dryRun=true previews, ?ignoreConflicts=true goes before
//	                                          scheduled changes and approval requests that would fail
//	DELETE /api/v2/flags/{project}/{key}      feature-flags/delete-feature-flag: 204
//	GET    /api/v2/flag-statuses/{project}/{env}        feature-flags/get-feature-flag-statuses
//	GET    /api/v2/flag-statuses/{project}/{env}/{key}  feature-flags/get-feature-flag-status
//	GET    /api/v2/flag-status/{project}/{key}          feature-flags/get-feature-flag-status-across-environments
//	       …/flags/{project}/{key}/dependent-flags        feature-flags-beta/get-dependent-flags, and
//	       …/flags/{project}/{env}/{key}/dependent-flags  …/get-dependent-flags-by-env; both want LD-API-Version: beta
//	POST   /api/v2/segments/{project}/{env}         segments/post-segment: key, name
//	GET    /api/v2/segments/{project}/{env}/{key}   segments/get-segment
//	GET    /api/v2/projects/{project}         projects/get-project
//	GET    /api/v2/projects/{project}/environments/{env}  environments/get-environment: approvalSettings
//	       …/flags/{key}/environments/{env}/approval-requests  approvals: list, create, get, delete, apply
//	GET    …/flags/{key}/environments/{env}/scheduled-changes  scheduled-changes/get-flag-config-scheduled-changes
//	GET    /all                               the SDK's stream: put, patch and delete events
//	GET    /sdk/latest-all                    the SDK's poll: {"flags", "segments"}
//	POST   /bulk, /diagnostic                 the SDK's events, answered 202
//
// REST: the token stands bare in Authorization. A flag is
// key, name, kind, _version, creationDate (epoch ms), archived, archivedDate, temporary, tags, variations[_id, value,
// name], defaults[onVariation, offVariation], environments{env: on, archived, salt, sel, lastModified (epoch ms),
// version, targets, contextTargets, rules, fallthrough, offVariation, prerequisites, trackEvents,
// trackEventsFallthrough}. Targets are {contextKind, variation (index), values}; those of kind user stand in targets,
// the others in contextTargets, beside an empty entry for each
// target of kind user, which the SDKs' evaluator asks for. Rules are {_id, description, variation or rollout, clauses[_id, contextKind,
// attribute, op, values, negate], trackEvents}. A rollout is {contextKind, bucketBy, variations[variation, weight in
// thousandths of a percent]}. Prerequisites are {key, variation (index)}.
//
// Instructions: turnFlagOn, turnFlagOff, updateFallthroughVariationOrRollout, updateOffVariation, addTargets,
// removeTargets, replaceTargets, addRule, removeRule, replaceRules, replacePrerequisites, archiveFlag. All of a patch
// happens or nothing. On a migration flag (docs/home/flags/target-migration) cohorts serve rollouts alone, no individual contexts
// are targeted, and the off variation stays off; with six stages no clause matches segments, and all are of the flag's kind.
//
// JSON patches (introduction "Updates using JSON patch" and "Updates with comments", patch-feature-flag "Using JSON patches on
// a feature flag", RFC 6902): an array of {op, path, value}, or {comment, patch} with that array. Content-Type is
// application/json without a domain-model, as LaunchDarkly's api-client-go sends it, or application/json-patch+json. A path
// leads through the flag as GET shows it. Editable are /environments/{env}/on, fallthrough {variation, by index, or rollout},
// offVariation (index), targets and contextTargets, in the shapes above, which are those that LaunchDarkly's own Terraform
// provider writes (github.com/launchdarkly/terraform-provider-launchdarkly, buildFFEPatches and ffeTargetsFromSet in
// launchdarkly/resource_feature_flag_environment_framework.go). A test is a precondition; the introduction's example tests the
// version. Which status a failing one is answered with is not said there: here it is 409 optimistic_locking_error, the endpoint's
// documented answer to whoever was overtaken, and TakeJSONPatches makes it another. What can't be applied is a 400, as that
// provider's comments have it.
//
// Errors are {"code", "message"} (introduction "Errors"), with the code and message that the reference
// shows for each status; a 403 names what the role lacks. Every answer carries X-Ratelimit-Global-Remaining,
// X-Ratelimit-Route-Remaining and X-Ratelimit-Reset in epoch ms ("Rate limiting"). TestAnswersHaveTheDocumentedShape compares
// all of it with testdata/documented.json, field by field.
//
// Stream and poll: field names of go-server-sdk-evaluation's ldmodel (model_marshal.go), event shapes of the SDK's
// streaming_data_source_events.go: put {path, data{flags, segments}}, patch {path, data}, delete {path, version}. The
// SDK key stands bare in Authorization. Events: "summary" and "feature" of go-sdk-events' events_output.go.
//
// Knowingly different from LaunchDarkly: a PATCH without LD-API-Version is refused (LaunchDarkly falls back to the
// token's default, which would hide a client's mistake); so is a field that the reference does not name for an instruction or a
// body, of which it only says that what can't be understood is refused; "launched" does not wait for seven quiet days; JSON merge patches, and
// JSON patches of anything else than those members, are refused, as are their copy and move; a scheduled change stands in the
// way of every other, an approval request of those that make its instructions impossible; approval requests, scheduled changes
// and segments are lost with the process; whether a dry run is refused where approvals are required is not documented, here it
// is not; an environment filter that names no environment gives a flag without environments. That SDKs are told the versions that
// the API shows is not documented either: here they are the same, and Options.SDKVersions makes them others.
package flagserver
