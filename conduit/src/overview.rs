//! What stands at a target after a move, read back from the providers at this moment: nothing of it comes from the log but the
//! names.

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::kept::{Kept, KeyReport};
use fluidcloud_proto::overview::{InstanceOverview, KeypairShown, Overview};
use fluidcloud_proto::report::Report;
use fluidcloud_proto::surroundings::{Settings, Surroundings};
use fluidcloud_providers::{Provider, Registry};
use time::OffsetDateTime;

/// Of a relocation that has succeeded.
pub async fn overview(
    registry: &Registry,
    source: &ProviderId,
    report: &Report,
    now: OffsetDateTime,
) -> Result<Overview, Failure> {
    let Some(first) = report.instances.first() else {
        let message = format!("relocation {} runs nothing at a target", report.id);
        let remedy = format!("see how it stands with `fluidcloud status {}`", report.id);
        return Err(Failure::never(Code::InvalidRequest, message, remedy));
    };
    let target = registry.get(&first.provider).map_err(|error| error.to_failure())?;
    let mut kept = kept_at(&*target, report.id).await?;
    // What was not asked for is not looked for: the source may be gone by now.
    if report.kept.iter().any(|kept| kept.provider == *source)
        && let Ok(provider) = registry.get(source)
    {
        match kept_at(&*provider, report.id).await {
            Ok(found) => kept.extend(found),
            // That nobody reaches it any more says nothing of the target.
            Err(failure) => {
                kept.extend(report.kept.iter().filter(|kept| kept.provider == *source).map(|kept| Kept {
                    status: format!("not seen now: {}", failure.message),
                    ..kept.clone()
                }))
            }
        }
    }
    let mut instances = Vec::new();
    for moved in &report.instances {
        let of = |kept: &&Kept| kept.component == moved.component;
        let kept = kept.iter().filter(of).cloned().collect();
        instances.push(one(&*target, &moved.component, &moved.instance, &report.keys, kept, now).await?);
    }
    Ok(Overview { relocation: report.id, provider: first.provider.clone(), at: now, instances })
}

async fn kept_at(provider: &dyn Provider, relocation: RelocationId) -> Result<Vec<Kept>, Failure> {
    match provider.keepsakes() {
        Ok(keepsakes) => keepsakes.kept(relocation).await.map_err(|error| error.to_failure()),
        Err(_) => Ok(Vec::new()),
    }
}

async fn one(
    target: &dyn Provider,
    component: &ComponentName,
    name: &InstanceName,
    keys: &[KeyReport],
    kept: Vec<Kept>,
    now: OffsetDateTime,
) -> Result<InstanceOverview, Failure> {
    let failed = |error: fluidcloud_providers::Error| error.to_failure();
    let found = target.inspect(name).await.map_err(failed)?;
    let details = target.details(name).await.map_err(failed)?;
    let around = target.surroundings(std::slice::from_ref(name)).await.map_err(failed)?;
    let settings = found.settings.map(|settings| *settings).unwrap_or_default();
    let age = details.created_at.map(|made| (now - made).whole_seconds().max(0).unsigned_abs());
    Ok(InstanceOverview {
        component: component.clone(),
        name: name.clone(),
        age_seconds: age,
        details,
        vcpus: found.vcpus,
        memory_bytes: found.memory_bytes,
        keypair: keypair(&settings, &around, keys, component),
        security_groups: around
            .security_groups
            .into_iter()
            .filter(|group| settings.security_groups.contains(&group.name))
            .collect(),
        nics: found.nics,
        flavor: settings.flavor,
        boots_from: settings.boots_from,
        metadata: settings.metadata,
        kept,
    })
}

fn keypair(
    settings: &Settings,
    around: &Surroundings,
    keys: &[KeyReport],
    component: &ComponentName,
) -> Option<KeypairShown> {
    let name = settings.keypair.clone()?;
    let known = around.keypairs.iter().find(|pair| pair.name == name);
    let created = keys.iter().find(|key| key.component == *component && key.name == name);
    let fingerprint = known.map(|pair| pair.fingerprint.clone()).unwrap_or_default();
    Some(KeypairShown { fingerprint, private_half: created.cloned(), name })
}
