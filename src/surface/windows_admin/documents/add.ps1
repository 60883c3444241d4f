# grantd: makes a domain user a local administrator of this host, for a time, or moves that time's end. The SSM agent
# runs this as SYSTEM.
#
# Parameters: Verb, User, Until, ActBy, Grants, Nonce; only by environment, so that no value is ever part of a script.
# Output: one line of JSON. Its result is done, standing (to a grant), absent (to a renewal), late, no-such-user,
# domain-controller or failed (exit 10).

$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
Set-StrictMode -Version 3.0

# ---- The same in add, remove and list: a document cannot load another file. ----

$GroupSid = 'S-1-5-32-544'  # Administrators; its name is localised.
$MarksPath = 'SOFTWARE\grantd\LocalAdministrators'
$AccountSid = '\AS-1-5-21-[0-9]+-[0-9]+-[0-9]+-[0-9]+\z'
$mutex = $null
$locked = $false
$nonce = ''

function New-Answer([string]$Result, [string]$Detail = '') {
    [pscustomobject]@{ result = $Result; detail = $Detail }
}

# By [Console], because the formatter of PowerShell may wrap long lines.
function Write-Answer($Answer) {
    $detail = $Answer.detail.Trim() -creplace '[^\x20-\x7e]+', '?'
    if ($detail.Length -gt 400) { $detail = $detail.Substring(0, 400) }
    $line = [ordered]@{ grantd = 1; nonce = $nonce; result = $Answer.result; detail = $detail }
    foreach ($key in $extra.Keys) { $line[$key] = $extra[$key] }
    $json = ConvertTo-Json -InputObject $line -Compress -Depth 4
    # ConvertTo-Json of 5.1 leaves most of Unicode as it is; the console would make it '?'.
    $escape = [Text.RegularExpressions.MatchEvaluator] { param($found) '\u{0:x4}' -f [int][char]$found.Value }
    [Console]::Out.WriteLine([regex]::Replace($json, '[^\x20-\x7e]', $escape))
}

# Messages are localised; the type and the number are not.
function Get-Reason($ErrorRecord) {
    $cause = $ErrorRecord.Exception.GetBaseException()
    if ($cause.GetType() -eq [Management.Automation.RuntimeException]) { return $cause.Message }
    $line = $ErrorRecord.InvocationInfo.ScriptLineNumber
    'line {0}: {1} (0x{2:X8}): {3}' -f $line, $cause.GetType().Name, $cause.HResult, $cause.Message
}

# An agent that does not know ENV_VAR runs the script all the same, without the variables.
function Read-Parameter([string]$Name, [string]$Pattern) {
    $value = [Environment]::GetEnvironmentVariable("SSM_$Name")
    if ([string]::IsNullOrEmpty($value)) {
        throw "Parameter $Name did not arrive: update the SSM agent to 3.3.2746.0 or newer."
    }
    if ($value -cnotmatch $Pattern) { throw "Parameter $Name is malformed." }
    $value
}

# Its Administrators are the domain's.
function Test-DomainController {
    (Get-CimInstance -ClassName Win32_ComputerSystem -Property DomainRole).DomainRole -ge 4
}

# The agent runs documents side by side. False after 30 seconds, or if another made the mutex and shuts us out.
function Enter-Lock {
    try {
        $script:mutex = [Threading.Mutex]::new($false, 'Global\grantd')
        $script:locked = $script:mutex.WaitOne(30000)
    }
    catch [Threading.AbandonedMutexException] { $script:locked = $true }  # Its holder died: it is ours now.
    catch [UnauthorizedAccessException] { $script:locked = $false }
    $script:locked
}

# The end of the process would do as well; so no error of this counts.
function Exit-Lock {
    try { if ($script:locked) { $script:mutex.ReleaseMutex() } }
    catch { $script:locked = $false }
}

function Get-Group {
    $name = [Security.Principal.SecurityIdentifier]::new($GroupSid).Translate([Security.Principal.NTAccount]).Value
    [ADSI]"WinNT://./$($name.Split('\')[-1]),group"
}

# The SIDs of all members. Get-LocalGroupMember fails on a group that holds the SID of a deleted account.
# Who cannot be identified is an error, for then nobody's absence is proven.
function Get-MemberSids {
    foreach ($member in @((Get-Group).psbase.Invoke('Members'))) {
        $entry = [ADSI]$member
        try {
            [Security.Principal.SecurityIdentifier]::new([byte[]]$entry.psbase.InvokeGet('objectSid'), 0).Value
            continue
        }
        catch { $path = [string]$entry.psbase.Path }
        # WinNT://S-1-5-21-... of a deleted account, WinNT://CORP/jdoe, WinNT://CORP/HOST/Administrator.
        $parts = @($path.Substring('WinNT://'.Length).Split('/'))
        if ($parts[-1] -cmatch '\AS-1-[0-9]+(-[0-9]+)+\z') { $parts[-1]; continue }
        try {
            $account = [Security.Principal.NTAccount]::new($parts[-2], $parts[-1])
            $account.Translate([Security.Principal.SecurityIdentifier]).Value
        }
        catch { throw "The member $path of the group cannot be identified: $(Get-Reason $_)" }
    }
}

function Open-LocalMachine {
    [Microsoft.Win32.RegistryKey]::OpenBaseKey('LocalMachine', 'Registry64')
}

# Our marks: one key for each SID. A key without User was never finished, and is none.
function Get-Marks {
    $root = (Open-LocalMachine).OpenSubKey($MarksPath)
    if ($null -eq $root) { return }
    foreach ($sid in $root.GetSubKeyNames()) {
        $key = $root.OpenSubKey($sid)
        if ($null -eq $key -or $sid -cnotmatch $AccountSid) { continue }
        $user = [string]$key.GetValue('User', '')
        if ($user -eq '') { continue }
        $until = [string]$key.GetValue('Until', '')
        $grants = [string]$key.GetValue('Grants', '')
        [pscustomobject]@{ sid = $sid; user = $user; until = $until; grants = $grants }
    }
}

# ---- End of what is the same. ----

# ---- The same in add and remove. ----

$UserForm = '\A[a-z0-9][a-z0-9_-]{0,14}\\[a-z0-9_]([a-z0-9._-]{0,18}[a-z0-9_-])?\z'

# The SID, or $null when there is no such account. Anything else that goes wrong is an error.
function Resolve-User([string]$User) {
    try {
        $account = [Security.Principal.NTAccount]::new($User)
        $account.Translate([Security.Principal.SecurityIdentifier]).Value
    }
    catch [Security.Principal.IdentityNotMappedException] { $null }
}

# Not this host's own, and not one of Windows itself.
function Test-DomainAccount([string]$Sid) {
    $machine = (Get-LocalUser | Select-Object -First 1).SID
    $account = [Security.Principal.SecurityIdentifier]::new($Sid)
    $Sid -cmatch $AccountSid -and -not $account.IsEqualDomainSid($machine)
}

function Remove-Mark([string]$Sid) {
    $root = (Open-LocalMachine).OpenSubKey($MarksPath, $true)
    if ($null -ne $root) { $root.DeleteSubKeyTree($Sid, $false) }
}

# ---- End of what is the same. ----

$TimeForm = '\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\z'
$extra = [ordered]@{ sid = $null }

function ConvertTo-Utc([string]$Text) {
    $styles = [Globalization.DateTimeStyles]'AssumeUniversal, AdjustToUniversal'
    $culture = [Globalization.CultureInfo]::InvariantCulture
    [DateTime]::ParseExact($Text, "yyyy-MM-dd'T'HH:mm:ss'Z'", $culture, $styles)
}

# User is last: it makes the mark. Flushed, for the registry waits some seconds before it writes to the disk:
# a host that loses its power now must not come back with a member that nothing marks.
function Write-Mark([string]$Sid, [string]$User, [string]$Until, [string]$Grants) {
    $key = (Open-LocalMachine).CreateSubKey("$MarksPath\$Sid")
    $key.SetValue('Until', $Until, 'String')
    $key.SetValue('Grants', $Grants, 'String')
    $key.SetValue('User', $User, 'String')
    $key.Flush()
}

function Invoke-Step {
    $renew = (Read-Parameter 'Verb' '\A(grant|renew)\z') -ceq 'renew'
    $user = Read-Parameter 'User' $UserForm
    $until = Read-Parameter 'Until' $TimeForm
    $actBy = Read-Parameter 'ActBy' $TimeForm
    $grants = Read-Parameter 'Grants' '\A[a-z0-9-]{3,64}(,[a-z0-9-]{3,64})*\z'
    $latest = ConvertTo-Utc $until
    if ((ConvertTo-Utc $actBy) -lt $latest) { $latest = ConvertTo-Utc $actBy }

    if (Test-DomainController) { return New-Answer 'domain-controller' 'A domain controller has no local groups.' }
    if (-not (Enter-Lock)) { return New-Answer 'failed' 'Another holds the lock Global\grantd of this host.' }

    $late = New-Answer 'late' 'The time for this step was over when it reached the host.'
    if ([DateTime]::UtcNow -gt $latest) { return $late }

    $sid = Resolve-User $user
    if ($null -eq $sid) { return New-Answer 'no-such-user' "This host finds no account $user." }
    $extra.sid = $sid
    if (-not (Test-DomainAccount $sid)) { return New-Answer 'failed' "$user is not an account of a domain." }

    $member = @(Get-MemberSids) -ccontains $sid
    $marks = @(Get-Marks)
    $marked = @($marks | Where-Object { $_.sid -ceq $sid }).Count -gt 0
    # A renewal gives nothing back, and asks for no mark: the sender knows that it is ours, whoever took the mark off.
    if ($renew -and -not $member) { return New-Answer 'absent' 'Not a member any more.' }
    if ($member -and -not $marked -and -not $renew) {
        return New-Answer 'standing' 'A member already, and not by us.'
    }

    # Once more: names are asked of the domain, which may take its time.
    if ([DateTime]::UtcNow -gt $latest) { return $late }

    # First the mark: a crash in between leaves a mark on nothing, not a member nobody will take away.
    Write-Mark $sid $user $until $grants
    $problem = 'Not a member when read back.'
    if (-not $member) {
        try { Add-LocalGroupMember -SID $GroupSid -Member $sid -Confirm:$false }
        catch {
            if ($_.FullyQualifiedErrorId -clike 'MemberExists*' -and -not $marked) {
                # Another's hand was quicker. What it added is not ours to take away.
                Remove-Mark $sid
                return New-Answer 'standing' 'Another added the member at this moment.'
            }
            $problem = Get-Reason $_
        }
    }
    if (@(Get-MemberSids) -ccontains $sid) { return New-Answer 'done' }
    if (-not $member -or -not $marked) { Remove-Mark $sid }
    if ($renew) { return New-Answer 'absent' 'Taken away at this moment.' }
    New-Answer 'failed' $problem
}

try {
    $nonce = Read-Parameter 'Nonce' '\A[0-9a-f]{32}\z'
    $answer = Invoke-Step
}
catch { $answer = New-Answer 'failed' (Get-Reason $_) }
finally { Exit-Lock }
Write-Answer $answer
if ($answer.result -ceq 'failed') { exit 10 }
exit 0
