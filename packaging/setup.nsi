; The setup for Windows: for this user only, without administrator rights. `/S` installs silently, `/D=` chooses a directory.
Target amd64-unicode
SetCompressor /SOLID lzma
Name "git-remote-bbtoken ${VERSION}"
OutFile "${OUTPUT}"
InstallDir "$LOCALAPPDATA\Programs\git-remote-bbtoken"
RequestExecutionLevel user
ManifestDPIAware true
VIProductVersion "${VERSION}.0"
VIAddVersionKey ProductName "git-remote-bbtoken"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "git remote helper for Bitbucket"
VIAddVersionKey LegalCopyright "MIT OR Apache-2.0"
!include LogicLib.nsh
!include WinMessages.nsh
!include StrFunc.nsh
${StrStr}
${UnStrRep}
!define ENTRY "Software\Microsoft\Windows\CurrentVersion\Uninstall\git-remote-bbtoken"

Page directory
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

Section
  ; The version before may have brought files that this one lacks.
  ReadRegStr $0 HKCU "${ENTRY}" "InstallLocation"
  ${If} $0 == $INSTDIR
  ${AndIf} ${FileExists} "$INSTDIR\uninstall.exe"
    ExecWait '"$INSTDIR\uninstall.exe" /S _?=$INSTDIR'
  ${EndIf}

  SetOutPath "$INSTDIR"
  File /r "${STAGE}\*"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKCU "${ENTRY}" "DisplayName" "git-remote-bbtoken"
  WriteRegStr HKCU "${ENTRY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${ENTRY}" "URLInfoAbout" "${HOMEPAGE}"
  WriteRegStr HKCU "${ENTRY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${ENTRY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${ENTRY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'

  ; The user's PATH. NSIS cuts long texts off: a PATH that may be too long stays as it is.
  ReadRegStr $0 HKCU "Environment" "Path"
  ${StrStr} $1 "$0;" "$INSTDIR;"
  StrLen $2 "$0;$INSTDIR"
  IntOp $3 ${NSIS_MAX_STRLEN} - 32
  ${If} $1 == ""
    ${If} $2 < $3
      ${If} $0 == ""
        WriteRegExpandStr HKCU "Environment" "Path" "$INSTDIR"
      ${Else}
        WriteRegExpandStr HKCU "Environment" "Path" "$0;$INSTDIR"
      ${EndIf}
      SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=5000
    ${Else}
      MessageBox MB_OK "Your PATH is too long for this setup. Add this directory to it: $INSTDIR" /SD IDOK
    ${EndIf}
  ${EndIf}
SectionEnd

Section Uninstall
  ; Only what the setup brought, file by file: the user may have chosen a directory with other files.
  !include "${STAGE}.nsh"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  DeleteRegKey HKCU "${ENTRY}"
  ; Run by the setup of another version, it stands in its own directory. PATH stays then.
  ${If} $EXEDIR == $INSTDIR
    Return
  ${EndIf}
  ReadRegStr $0 HKCU "Environment" "Path"
  StrLen $2 "$0"
  IntOp $3 ${NSIS_MAX_STRLEN} - 32
  ${If} $2 < $3
    ${UnStrRep} $1 "$0" ";$INSTDIR" ""
    ${UnStrRep} $1 "$1" "$INSTDIR" ""
    ${If} $1 == ""
      DeleteRegValue HKCU "Environment" "Path"
    ${ElseIf} $1 != $0
      WriteRegExpandStr HKCU "Environment" "Path" "$1"
    ${EndIf}
    SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=5000
  ${EndIf}
SectionEnd
