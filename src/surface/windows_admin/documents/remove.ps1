# grantd: takes a user out of the administrators of this host, with our mark or without it: only the sender knows what
# was ours, for whoever has the access can take the mark off. The SSM agent runs this as SYSTEM.
#
# Parameters: User, Nonce; only by environment, so that no value is ever part of a script.
# Output: one line of JSON. Its result is done, absent (was no member any more), domain-controller or failed (exit 10).

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

$extra = [ordered]@{ sid = $null }

# By SID: the account may be gone. Returns what went wrong, or ''; proof is only what the caller reads back.
function Remove-Member([string]$Sid) {
    try {
        Remove-LocalGroupMember -SID $GroupSid -Member $Sid -Confirm:$false
        return ''
    }
    catch { $problem = Get-Reason $_ }
    # The cmdlet has trouble with deleted accounts; even its MemberNotFound can mean that SAM does not know the
    # account. The WinNT provider takes any SID.
    try {
        $null = (Get-Group).psbase.Invoke('Remove', "WinNT://$Sid")
        ''
    }
    catch { "$problem Then $(Get-Reason $_)" }
}

function Invoke-Step {
    $user = Read-Parameter 'User' $UserForm
    if (Test-DomainController) { return New-Answer 'domain-controller' 'A domain controller has no local groups.' }
    $null = Enter-Lock

    # Of one name there may be several: an account deleted, made again and granted again. The marks go first, for they
    # ask no domain.
    $marks = @(Get-Marks | Where-Object { [string]::Equals($_.user, $user, 'OrdinalIgnoreCase') })
    $sids = @($marks | ForEach-Object { $_.sid })
    $outcomes = @($sids | ForEach-Object { Remove-Member $_ })

    # Then the account itself. That there is none counts as an answer of its domain; no answer is an error.
    $sid = $null
    $silence = ''
    try {
        $sid = Resolve-User $user
        # add.ps1 makes no such account a member: this host took the name for another one.
        if ($null -ne $sid -and -not (Test-DomainAccount $sid)) { throw "$user is not an account of a domain." }
    }
    catch {
        $silence = Get-Reason $_
        $sid = $null
    }
    if ($null -ne $sid -and $sids -cnotcontains $sid) {
        $sids += $sid
        $outcomes += @(Remove-Member $sid)
    }
    $problems = @($outcomes | Where-Object { $_ -ne '' })
    if ($sids.Count -gt 0) { $extra.sid = $sids[-1] }

    # Nobody may hold a removal back by holding the lock. But a step that adds may run beside this one:
    # so the marks stay, and nothing is claimed.
    if (-not $locked) {
        return New-Answer 'failed' "Another holds the lock Global\grantd of this host. $problems"
    }

    # The proof: who is left when read back.
    $members = @(Get-MemberSids)
    $left = @($sids | Where-Object { $members -ccontains $_ })
    foreach ($mark in $marks) {
        if ($left -cnotcontains $mark.sid) { Remove-Mark $mark.sid }
    }
    if ($left.Count -gt 0) { return New-Answer 'failed' "Still a member: $left. $problems" }
    # A mark can be lost, and "done" would close the debt: without mark and account it takes the domain's word.
    if ($marks.Count -eq 0 -and $silence -ne '') { return New-Answer 'failed' "Nobody says who $user is. $silence" }
    # Each attempt went wrong, and yet nobody is left: somebody else took it away before.
    if ($problems.Count -eq $outcomes.Count) { return New-Answer 'absent' 'Not a member any more.' }
    New-Answer 'done'
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
