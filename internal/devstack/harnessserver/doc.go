// Package harnessserver stands in for Harness Feature Flags: one project with one environment, spoken to over Harness's
// own wire protocols, so that the real SDK and a client of the admin API need nothing but another URL. It serves tests.
//
// Where each shape comes from:
//
//	POST   /gateway/cf/admin/features               https://apidocs.harness.io/tag/Feature-Flags, "Creates a Feature Flag": 201
//	GET    /gateway/cf/admin/features               harness-core-ui, src/services/cf/index.tsx, which is made from the API's specification:
//	                                                {features, itemCount, pageCount, pageIndex, pageSize}, pages from 0
//	GET    …/features/{identifier}/dependants       the same, "all the flags which depend on it": a page as above
//	GET    /gateway/cf/admin/segments/{identifier}  the same; harness-go-sdk, harness/nextgen/docs/TargetGroupsApi.md
//	GET, POST /gateway/cf/admin/targets…            the same; pages/target-management/targets/NewTarget.tsx. 409 is a target that exists
//	GET    /gateway/ng/api/environmentsV2           harness-go-sdk, harness/nextgen/docs/EnvironmentsApi.md, GetEnvironmentList: page and
//	                                                size; an environment's fields as in harness-core, EnvironmentResponseDTO.java
//	GET    /gateway/cf/admin/features/{identifier}  https://apidocs.harness.io/feature-flags/getfeatureflag; ?archived=true; ?metrics=true, "if
//	                                                metrics data is requested in response", gives status (services/cf/index.tsx)
//	PATCH  /gateway/cf/admin/features/{identifier}  https://apidocs.harness.io/feature-flags/patchfeature: {comment, instructions}
//	DELETE /gateway/cf/admin/features/{identifier}  the same tag, "Delete Feature Flag": 204; ?forceDelete=false archives, as Harness's
//	                                                console asks for it (FlagArchiving/useArchiveFlagDialog.tsx)
//	POST   /api/1.0/client/auth                     resources/client-v1.yaml of ff-golang-server-sdk, as all below
//	GET    /api/1.0/client/env/{uuid}/feature-configs and …/{identifier}
//	GET    /api/1.0/client/env/{uuid}/target-segments and …/{identifier}
//	GET    /api/1.0/stream                          events of stream/message.go: {event, domain, identifier, version}; an empty comment
//	                                                is the heartbeat
//	POST   /api/1.0/metrics/{uuid}                  resources/metrics-v1.yaml; attribute featureIdentifier (analyticsservice/analytics.go)
//
// The admin API wants x-api-key and accountIdentifier, orgIdentifier, projectIdentifier and environmentIdentifier in the
// query. A feature is archived, createdAt, defaultOnVariation, defaultOffVariation, envProperties{environment, state,
// offVariation, defaultServe, variationMap, rules, pipelineConfigured, version, modifiedAt}, identifier, kind, modifiedAt, name, owner,
// permanent, prerequisites, project, status{status, lastAccess}, tags, variations[identifier, name, value]. Times are epoch
// ms; lastAccess without any is that of Go's zero time. testdata/feature.json is such a feature: the fields that the
// API pages and the test data of Harness's console (harness-core-ui, src/modules/75-cf/utils/testData/data/mockFeature.ts) have
// in common, with values of our own. Errors are {code, message}.
//
// Instructions, with parameters as that console (src/modules/75-cf/utils/instructions.ts) and harness-core's io.harness.cf.CFApi send them:
// setFeatureFlagState{state}, updateDefaultServe{variation | bucketBy, variations[variation, weight]},
// updateOffVariation{variation}, addTargetsToVariationTargetMap and removeTargetsToVariationTargetMap{variation, targets},
// addSegmentToVariationTargetMap and removeSegmentToVariationTargetMap{variation, targetSegments}, addRule{uuid, priority,
// serve, clauses}, removeRule{ruleID}, reorderRules{rules}, addPrerequisite{feature, variations}, removePrerequisite{feature}.
//
// Rights are those of https://developer.harness.io/docs/platform/automation/api/api-permissions-reference: archiving takes the one to
// delete, as the console asks for it (FlagOptionsMenuButton.tsx); of instructions setFeatureFlagState takes the one to toggle, all others the
// one to edit, as harness-core has it for the flag step of a pipeline. A request that lacks one is answered 403.
//
// Of other environments there is only what a test has said of them: Elsewhere and Depend.
//
// The environment knows the targets that SDKs' metrics tell of, that groups and flags name, and that were created:
// https://developer.harness.io/docs/feature-flags/use-ff/ff-target-management/add-targets.
//
// Not documented, and therefore chosen here: a patch that names an unknown target is refused with 404, or what Options.UnknownTargets says; prerequisites may differ by environment; all of a patch happens or nothing; reorderRules numbers from 1, in the order that
// it names; a rule whose uuid exists is refused; a listing leaves archived flags out, and has at most 50 to a page; a GET of an archived flag is 404 unless it
// asks for archived ones; a flag that others depend on is not archived (the documentation says so, but not the status: 400);
// a flag is "active" as soon as it was evaluated.
package harnessserver
